// The server's events by fetch, since an EventSource sends no header and the key belongs in no URL.
// It connects again by itself, and says what it is doing.

const SILENCE = 10000; // ms; a server that is there sends something every second
const WAITS = [1, 2, 4, 8, 10]; // seconds before each next try

// A header has bytes, and a browser sends no other letters in it: those of a key's UTF-8.
const asBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

export class Feed {
  // `tell(state, text)`: waiting, live, lost, paused or key; `hear(snapshot)`.
  constructor(url, tell, hear) {
    Object.assign(this, { url, tell, hear, key: null, wanted: false });
    this.run = 0; // raised by each start and stop; what belongs to an earlier one is void
    this.abort = null;
    this.wake = null;
  }

  start() {
    this.stop();
    this.wanted = true;
    this.follow(this.run);
  }

  stop() {
    this.wanted = false;
    this.run += 1;
    this.abort?.abort();
    this.wake?.();
  }

  async follow(run) {
    for (let tries = 0; run === this.run; ) {
      this.tell("waiting", "Connecting");
      let why = "The connection was lost";
      try {
        const answer = await this.connect();
        if (run !== this.run) return;
        if (answer.status === 401) {
          this.stop();
          this.tell("key", this.key === null ? "" : "This is not a key of the server.");
          return;
        }
        if (answer.ok) {
          await this.read(answer.body, run, () => (tries = 0));
        } else {
          why = answer.status === 429 ? "Too many watch already" : `The server answered ${answer.status}`;
        }
      } catch {
        // what a browser says of a broken connection differs, and helps nobody
      }
      if (run !== this.run) return;
      this.abort?.abort();
      await this.pause(WAITS[Math.min(tries, WAITS.length - 1)], why, run);
      tries += 1;
    }
  }

  connect() {
    this.abort = new AbortController();
    const headers = this.key === null ? {} : { Authorization: `Bearer ${asBytes(this.key)}` };
    return fetch(this.url, { headers, cache: "no-store", signal: this.abort.signal });
  }

  async read(body, run, heard) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const timer = setTimeout(() => this.abort.abort(), SILENCE);
      const { done, value } = await reader.read().finally(() => clearTimeout(timer));
      if (done || run !== this.run) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      const last = events.findLast((event) => event.startsWith("data: "));
      if (last !== undefined) {
        heard();
        this.hear(JSON.parse(last.slice(6)));
        this.tell("live", "Live");
      }
    }
  }

  async pause(seconds, why, run) {
    for (let left = seconds; left > 0 && run === this.run; left -= 1) {
      this.tell("lost", `${why}: trying again in ${left} s`);
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, 1000);
      });
    }
  }
}
