// The closed loop of package load, for a client that is not written in Go: the
// same lines on standard input and output, the same rules of what counts.
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const tell = (report) => process.stdout.write(JSON.stringify(report) + '\n');
const micros = () => Math.round(performance.now() * 1000);

// serve says ready and runs the phases that come in until the input ends.
export async function serve(session) {
  tell({ event: 'ready' });
  for await (const line of createInterface({ input: process.stdin })) {
    await run(JSON.parse(line), session);
  }
}

// How many times longer than asked a phase may take for its rounds.
const maxStretch = 6;

async function run({ clients, warmMillis = 0, measureMillis, sessions = 0, rounds = 0 }, session) {
  const loop = { open: false, over: false, done: 0, micros: [] };
  let enough, failed;
  const full = new Promise((resolve) => { enough = resolve; });
  const broken = new Promise((_, reject) => { failed = reject; });
  broken.catch(() => {});

  const client = async () => {
    while (!loop.over) {
      const begun = micros();
      await session();
      loop.done++;
      if (!loop.open) continue;
      loop.micros.push(micros() - begun);
      if (loop.micros.length === sessions) {
        loop.open = false;
        enough();
      }
    }
  };
  const idle = Promise.allSettled(Array.from({ length: clients }, () => client().catch(failed)));

  // lasting waits for the time and so many sessions, up to maxStretch of the time.
  const lasting = async (time, least) => {
    const late = performance.now() + maxStretch * time;
    await sleep(time, undefined, { ref: false });
    while (loop.done < least && performance.now() < late && !loop.over) await sleep(10, undefined, { ref: false });
  };

  try {
    await Promise.race([lasting(warmMillis, Math.min(rounds, 1) * clients), broken]);
    tell({ event: 'begin' });
    const begun = micros();
    loop.open = true;
    await Promise.race([lasting(measureMillis, loop.done + rounds * clients), full, broken]);
    loop.open = false;
    tell({ event: 'end', elapsedMicros: micros() - begun, micros: loop.micros });
  } catch (error) {
    tell({ event: 'error', message: String(error?.message ?? error) });
  }
  loop.over = true;
  await idle;
  tell({ event: 'idle' });
}
