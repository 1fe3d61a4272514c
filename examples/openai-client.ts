// The official OpenAI client, streaming from `npm start`. Run: node dist/examples/openai-client.js

import OpenAI from 'openai'

const { BANYAN_URL: url = 'http://127.0.0.1:8000', BANYAN_API_KEY: apiKey = 'unused' } = process.env
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey })
const stream = await client.completions.create({
  model: 'demo',
  prompt: 'export interface ',
  max_tokens: 64,
  seed: 7,
  stream: true,
})
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.text ?? '')
process.stdout.write('\n')
