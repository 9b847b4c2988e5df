// How many jobs a second go through graphile-worker with two workers, each a process of its own as with us a pool of its own.
// usage: node jobs-per-second.mjs FOLDER URL JOBS CONCURRENCY [tuned]
import { fork } from "node:child_process";
import { createRequire } from "node:module";

const [folder, url, jobs, concurrency, tuned] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const { makeWorkerUtils, run } = require("graphile-worker");
const { Pool } = require("pg");

// What its guide to performance names: https://worker.graphile.org/docs/performance
const tuning = tuned ? { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {};
const preset = {
  worker: { connectionString: url, concurrentJobs: Number(concurrency), maxPoolSize: Number(concurrency) > 10 ? 12 : 10, ...tuning },
};

if (process.send) await work();
else await measure();

async function work() {
  const runner = await run({ preset, logger: quiet(), noHandleSignals: true, taskList: { nothing: async () => {} } });
  process.once("message", async () => {
    await runner.stop();
    process.exit(0);
  });
  process.send("working");
}

async function measure() {
  const pool = new Pool({ connectionString: url, max: 2 });
  pool.on("error", (problem) => console.error(problem));
  pool.on("connect", (client) => client.on("error", (problem) => console.error(problem)));
  await pool.query("DROP SCHEMA IF EXISTS graphile_worker CASCADE");
  const utils = await makeWorkerUtils({ pgPool: pool, logger: quiet() });
  await utils.migrate();
  const specifications = Array.from({ length: 500 }, () => ({ identifier: "nothing", payload: 1 }));
  let begin = performance.now();
  for (let added = 0; added < jobs; added += 500) await utils.addJobs(specifications.slice(0, jobs - added));
  const inBatches = rate(jobs, begin);

  begin = performance.now();
  const workers = [0, 1].map(() => fork(process.argv[1], process.argv.slice(2)));
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))));
  const started = performance.now();
  const left = async () => (await pool.query("SELECT count(*)::int AS left FROM graphile_worker._private_jobs")).rows[0].left;
  while ((await left()) > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  const completed = rate(jobs, begin);
  for (const worker of workers) worker.send("stop");
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));
  console.log(
    `2 workers with ${concurrency} jobs at once each${tuned ? ", tuned for throughput" : ""}: ${completed}/s completed ` +
      `(the processes were up after ${Math.round(started - begin)} ms); enqueued in batches of 500: ${inBatches}/s`,
  );
  await utils.release();
  await pool.end();
}

function rate(count, since) {
  return Math.round((count * 1000) / (performance.now() - since));
}

function quiet() {
  return new (require("graphile-worker").Logger)(() => () => {});
}
