// A process that holds a journal until it is killed.

import { openFileStore } from '../../../lib/transport/file-store.js'

const store = await openFileStore(process.argv[2] ?? '')
let revision = 0
for (let i = 0; i < 100; i++)
  revision = await store.put('last', Buffer.from(String(i)), revision, { timeoutMs: 10_000 })
console.log('holding')
setInterval(() => undefined, 1_000)
