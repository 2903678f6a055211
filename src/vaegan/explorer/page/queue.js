// One request at a time: newer questions of the same lane replace older ones that still wait, and what a hand is doing goes first.

const ORDER = ["hover", "hoverNear", "current", "currentNear", "answer", "picture", "background"];

/** A lane is named by one of these words, and may have more words to tell it from its like. */
function rank(lane) {
  return ORDER.indexOf(lane.split(" ")[0]);
}

export class Queue {
  constructor() {
    this.waiting = []; // { lane, latest, run, resolve, reject }
    this.busy = false;
  }

  /** Waits for its turn; of a `latest` lane only the newest question is asked, the others resolve with null. */
  ask(lane, run, latest = false) {
    return new Promise((resolve, reject) => {
      if (latest) {
        for (const older of this.waiting.filter((one) => one.lane === lane)) older.resolve(null);
        this.waiting = this.waiting.filter((one) => one.lane !== lane);
      }
      this.waiting.push({ lane, run, resolve, reject });
      this.next();
    });
  }

  drop(lane) {
    for (const one of this.waiting.filter((other) => other.lane === lane)) one.resolve(null);
    this.waiting = this.waiting.filter((one) => one.lane !== lane);
  }

  async next() {
    if (this.busy || !this.waiting.length) return;
    this.busy = true;
    let first = this.waiting[0];
    for (const one of this.waiting) if (rank(one.lane) < rank(first.lane)) first = one;
    this.waiting.splice(this.waiting.indexOf(first), 1);
    try {
      first.resolve(await first.run());
    } catch (error) {
      first.reject(error);
    } finally {
      this.busy = false;
      this.next();
    }
  }
}
