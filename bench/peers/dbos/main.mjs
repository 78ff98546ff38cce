// The worker and the client of a comparison for DBOS, which runs the steps of a
// workflow in the process that starts it.
import { DBOS } from '@dbos-inc/dbos-sdk';
import { serve } from './load.mjs';

const [url, steps, pool] = process.argv.slice(2);

async function nothing() {}

const chain = DBOS.registerWorkflow(async (n) => {
  for (let i = 0; i < n; i++) {
    await DBOS.runStep(nothing, { name: 'nothing' });
  }
}, { name: 'chain' });

DBOS.setConfig({
  name: 'bench',
  systemDatabaseUrl: url,
  systemDatabasePoolSize: Number(pool) || undefined,
  logLevel: 'error',
});
await DBOS.launch();
await serve(async () => {
  const handle = await DBOS.startWorkflow(chain)(Number(steps));
  await handle.getResult();
});
await DBOS.shutdown();
