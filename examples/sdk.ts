// The SDK against `npm start`: a stream, then the same answer whole. Run: node dist/examples/sdk.js

import { BanyanClient } from '../sdk/src/index.js'

const { BANYAN_ADDRESS: address = '127.0.0.1:50051', BANYAN_API_KEY: apiKey } = process.env
const client = new BanyanClient({ address, apiKey })
const request = { text: 'export interface ', sampling: { maxTokens: 64, seed: 7n } }
for await (const event of client.generate(request)) if (event.type === 'chunk') process.stdout.write(event.text)
const { usage, stats, fingerprint } = await client.complete(request)
console.log('\n', { usage, stats, fingerprint })
client.close()
