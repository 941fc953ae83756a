// An OpenID provider (certified: npm oidc-provider) for the tests. Arguments: port, redirect address.
// Anybody signs in by a name; POST /groups/NAME?admins,staff says in which groups. New keys at each start.
import crypto from "node:crypto";
import Provider from "oidc-provider";

const [port, redirect] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const { privateKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
const kid = crypto.randomUUID();
const jwk = { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid };
const client = {
  client_id: "uploads",
  client_secret: "the secret of the tests",
  redirect_uris: [redirect],
  post_logout_redirect_uris: [new URL("/signin", redirect).href],
  grant_types: ["authorization_code", "client_credentials"],
  response_types: ["code"],
  backchannel_logout_uri: new URL("/signin/oidc/logout", redirect).href,
};
const groups = new Map();
const provider = new Provider(issuer, {
  clients: [client],
  jwks: { keys: [jwk] },
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email"], profile: ["name", "groups"] },
  cookies: { keys: ["a key of the tests"] },
  fetch: (url, { dispatcher, ...options }) => fetch(url, options), // its own refuses this machine
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: (_context, resource) => ({
        scope: "", audience: resource, accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  extraTokenClaims: () => ({ groups: ["machines"] }),
  findAccount: async (_context, id) => ({
    accountId: id,
    claims: async () => ({
      sub: id, name: `${id} of the tests`, email: `${id}@example.org`, groups: groups.get(id) ?? [],
    }),
  }),
  ttl: { AccessToken: 600, IdToken: 600, AuthorizationCode: 60, ClientCredentials: 600, Interaction: 600, Session: 3600, Grant: 3600 },
});
provider.use(async (context, next) => {
  if (!context.path.startsWith("/groups/")) return next();
  groups.set(context.path.split("/")[2], context.querystring.split(","));
  context.status = 204;
});
provider.on("backchannel.error", (_context, error) => console.error(error));
provider.on("server_error", (_context, error) => console.error(error));
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
