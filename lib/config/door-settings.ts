// The settings of the doors: where they listen, who may come in, how much at a time.

import type { SettingName } from './schema.js'
import type { Setting } from './settings.js'

export const count = (min: number, max: number): string => `a whole number from ${min} to ${max}`

export const DOOR_SETTINGS = {
  host: { wants: 'an address to listen on', help: 'address to listen on', value: 'ADDRESS', env: 'BANYAN_HOST' },
  http: {
    wants: count(0, 65_535),
    help: 'HTTP port of the first router, 0: any free one',
    value: 'PORT',
    env: 'BANYAN_HTTP',
  },
  grpc: {
    wants: count(0, 65_535),
    help: 'gRPC port of the first router, 0: any free one',
    value: 'PORT',
    env: 'BANYAN_GRPC',
  },
  apiKey: {
    wants: 'printable characters without spaces and commas, KEY or KEY;name=NAME;requests=N;tokens=N',
    help: 'a key that clients must send, also KEY;name=NAME;requests=N;tokens=N with limits of its own; may be repeated',
    value: 'KEY',
    env: 'BANYAN_API_KEYS',
    isSecret: true,
    isRepeatable: true,
  },
  rateLimitRequests: {
    wants: count(1, 1_000_000),
    help: 'requests a second of each key (without keys: of each address); more are refused',
    value: 'N',
    env: 'BANYAN_RATE_LIMIT_REQUESTS',
  },
  rateLimitTokens: {
    wants: count(1, 1_000_000_000),
    help: 'prompt and output tokens a minute of each key (without keys: of each address)',
    value: 'N',
    env: 'BANYAN_RATE_LIMIT_TOKENS',
  },
  tlsCert: {
    wants: 'the path of a PEM file',
    help: 'certificate (with its chain) of the HTTP and gRPC doors: both then speak TLS',
    value: 'FILE',
    env: 'BANYAN_TLS_CERT',
  },
  tlsKey: {
    wants: 'the path of a PEM file',
    help: 'key of that certificate',
    value: 'FILE',
    env: 'BANYAN_TLS_KEY',
  },
  tlsClientCa: {
    wants: 'the path of a PEM file',
    help: 'every client must show a certificate that this one vouches for',
    value: 'FILE',
    env: 'BANYAN_TLS_CLIENT_CA',
  },
} as const satisfies Partial<Record<SettingName, Setting>>
