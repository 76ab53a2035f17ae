// A service in JavaScript: reaches every role that its environment names, by the URL and by the single values, and prints
// what it got there. `node client.js KEY`; nothing but REDIS_* of the environment says where, as whom and by what password.
'use strict';
const Redis = require('ioredis');

const QUICK = { retryStrategy: () => null, maxRetriesPerRequest: 0, connectTimeout: 5000, commandTimeout: 5000 };
const SCRIPT = "return redis.call('INCRBY', KEYS[1], ARGV[1])";

async function told(promise) {
  try {
    return await promise;
  } catch (error) {
    return `refused: ${error.message.split(' ')[0]}`;
  }
}

async function used(redis, key) {
  redis.on('error', () => {}); // told by the command that waits for it
  try {
    return {
      whoami: await told(redis.call('ACL', 'WHOAMI')),
      set: await told(redis.set(key, '1', 'EX', 60)),
      get: await told(redis.get(key)),
      multi: await told(redis.multi().incr(key).incr(key).exec().then((results) => results.map(([, value]) => value))),
      eval: await told(redis.eval(SCRIPT, 1, key, '7')),
      config: await told(redis.config('GET', 'dir')),
    };
  } finally {
    redis.disconnect();
  }
}

async function main(key) {
  const found = {};
  for (const name of Object.keys(process.env).filter((word) => /^REDIS_.*_URL$/.test(word))) {
    const prefix = name.slice(0, -'_URL'.length);
    const value = (word) => process.env[`${prefix}_${word}`];
    const parts = { host: value('HOST'), port: value('PORT'), username: value('USERNAME'), password: value('PASSWORD') };
    found[prefix] = {
      url: await used(new Redis(process.env[name], QUICK), key),
      parts: await used(new Redis({ ...QUICK, ...parts }), key),
    };
  }
  console.log(JSON.stringify(found));
}

main(process.argv[2]);
