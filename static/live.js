// The jobs' news: one event stream for the page, and while it is down, asking for each job.

const GRACE_MS = 4000; // a stream that is back within this was not worth a word
const TOGETHER = 2; // long polls at once; more would starve the uploads of connections

/**
 * Calls `onjob(job)` with every change of any of the owner's jobs, and `onstate(word)` with what
 * to say about the connection ("" while it is well). `active()` gives the ids of the jobs that
 * the page still waits for.
 */
export function follow({ onjob, onstate, active }) {
  let source = null;
  let lostAt = 0;
  let wait = 2000;
  let gone = false;

  const lost = () => {
    if (!lostAt) { lostAt = Date.now(); setTimeout(check, GRACE_MS); }
  };
  const check = () => {
    if (!lostAt || gone) return;
    onstate("Waiting for the connection. Uploads and jobs go on by themselves.");
    poll();
  };

  function open() {
    source = new EventSource("/events");
    source.addEventListener("job", ({ data }) => onjob(JSON.parse(data)));
    source.onopen = async () => {
      const missed = lostAt !== 0;
      lostAt = 0;
      wait = 2000;
      onstate("");
      if (missed) await Promise.all(active().slice(0, 20).map((id) => ask(id, 0)));
    };
    source.onerror = () => {
      lost();
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      setTimeout(open, wait);
      wait = Math.min(wait * 2, 30000);
    };
  }

  let polling = false;
  async function poll() {
    if (polling) return;
    polling = true;
    while (lostAt && !gone) {
      const ids = active();
      const long = ids.length > 0 && ids.length <= TOGETHER;
      const answers = await inTurns(ids, TOGETHER, (id) => ask(id, long ? 30 : 0));
      if (!long || !answers.some(Boolean)) await new Promise((resolve) => setTimeout(resolve, 2000));
    }
    polling = false;
  }

  /** Asks for one job; true when the server answered. */
  async function ask(id, waitS) {
    try {
      const answer = await fetch(`/status/${id}${waitS ? `?wait=${waitS}` : ""}`, { headers: { Accept: "application/json" } });
      if (answer.status === 401) {
        gone = true;
        source?.close();
        onstate("Your session has ended.", "/signin?next=/");
      }
      if (!answer.ok) return answer.status < 500;
      onjob(await answer.json());
      if (lostAt) onstate("No live stream; asking the server now and then.");
      return true;
    } catch {
      if (lostAt) onstate("Waiting for the connection. Uploads and jobs go on by themselves.");
      return false;
    }
  }

  open();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", ({ persisted }) => { if (persisted) open(); });
}

async function inTurns(ids, together, work) {
  const answers = [];
  for (let i = 0; i < ids.length; i += together) answers.push(...(await Promise.all(ids.slice(i, i + together).map(work))));
  return answers;
}
