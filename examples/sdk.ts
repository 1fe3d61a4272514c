// The SDK against `npm start`: a stream, then the same answer whole. Run: node dist/examples/sdk.js

import { BanyanClient } from '../sdk/src/index.js'

const client = new BanyanClient({ address: '127.0.0.1:50051' })
const request = { text: 'export interface ', sampling: { maxTokens: 64, seed: 7n } }
for await (const event of client.generate(request)) if (event.type === 'chunk') process.stdout.write(event.text)
const { usage, stats, fingerprint } = await client.complete(request)
console.log('\n', { usage, stats, fingerprint })
client.close()
