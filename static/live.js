// The jobs' news: one event stream for the page, and while it is down, asking for each job.

const GRACE_MS = 4000; // a stream that is back within this was not worth a word
const ASK_EVERY_MS = 2000;
const AT_ONCE = 12; // jobs asked for in one round

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
  let lastId = "";

  const lost = () => {
    if (!lostAt) { lostAt = Date.now(); setTimeout(check, GRACE_MS); }
  };
  const check = () => {
    if (!lostAt || gone) return;
    onstate("Waiting for the connection. Uploads and jobs go on by themselves.");
    poll();
  };

  function open() {
    if (gone) return;
    // The browser's own new tries tell where the stream broke off; a new stream has to be told.
    source = new EventSource(`/events?mine=1${lastId ? `&after=${lastId}` : ""}`);
    source.addEventListener("job", ({ data, lastEventId }) => {
      lastId = lastEventId;
      onjob(JSON.parse(data));
    });
    source.onopen = async () => {
      const missed = lostAt !== 0;
      lostAt = 0;
      wait = 2000;
      onstate("");
      if (missed) for (const id of active().slice(0, AT_ONCE)) await ask(`/status/${id}`);
    };
    source.onerror = () => {
      lost();
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      setTimeout(open, wait);
      wait = Math.min(wait * 2, 30000);
    };
  }

  /** Perhaps signed in again, in another tab. */
  function back() {
    gone = false;
    lostAt ||= Date.now();
    open();
    poll();
  }

  let polling = false;
  async function poll() {
    if (polling) return;
    polling = true;
    while (lostAt && !gone) {
      // Short questions rather than ?wait=: they bring the progress too, and hold no connection.
      const jobs = active().slice(0, AT_ONCE).map((id) => `/status/${id}`);
      for (const path of jobs.length ? jobs : ["/jobs?limit=1"]) if (!(await ask(path))) break;
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
    polling = false;
  }

  /** Asks for a job, or just for a sign of life; true when the server answered. */
  async function ask(path) {
    try {
      const answer = await fetch(path, { headers: { Accept: "application/json" } });
      if (answer.status === 401) {
        gone = true;
        source?.close();
        onstate("Your session has ended.", "/signin?next=/");
        addEventListener("focus", back, { once: true });
      }
      if (!answer.ok) return answer.status < 500;
      const body = await answer.json();
      if (body.jobId) onjob(body);
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
