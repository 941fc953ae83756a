// How fast bytes go, smoothed: the mean of the first seconds, then a memory that fades.

const MEMORY_S = 5;
const FIRST_S = 1; // before that, the figure tells of the socket's buffer more than of the network
const STEP_S = 0.25;

export class Pace {
  #beganAt;
  #at;
  #sent;
  #rate = 0;

  constructor(sent, now = performance.now()) {
    this.#beganAt = this.#at = now;
    this.#sent = sent;
  }

  /** So many bytes are out now. Telling the same figure again lets the rate sink. */
  tell(sent, now = performance.now()) {
    const s = (now - this.#at) / 1000;
    if (s < STEP_S) return;
    const weight = Math.max(s / ((now - this.#beganAt) / 1000), 1 - Math.exp(-s / MEMORY_S));
    this.#rate += weight * ((sent - this.#sent) / s - this.#rate);
    this.#at = now;
    this.#sent = sent;
  }

  /** Bytes a second; 0 while that is not known. */
  get rate() { return this.#at - this.#beganAt < FIRST_S * 1000 ? 0 : this.#rate; }
}
