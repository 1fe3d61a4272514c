// What an API key may carry: `KEY`, or `KEY;name=alice;requests=5;tokens=10000` in any order after the key.

import { ClusterError } from '../errors.js'

export interface RateLimit {
  readonly requestsPerSecond?: number | undefined
  readonly tokensPerMinute?: number | undefined
}

export interface ApiKey extends RateLimit {
  readonly key: string
  readonly name?: string | undefined // keys of one name are one caller: a new and an old one while they are exchanged
}

const OPTIONS: Readonly<Record<string, RegExp>> = {
  name: /^[A-Za-z0-9._-]{1,64}$/,
  requests: /^[1-9]\d{0,6}$/,
  tokens: /^[1-9]\d{0,9}$/,
}

/** Throws `invalid_argument` that says what is wrong without showing the key. */
export function parseApiKey(text: string): ApiKey {
  const start = text.search(/;(name|requests|tokens)=/) // a ; that begins no option belongs to the key
  const key = start === -1 ? text : text.slice(0, start)
  const options = new Map<string, string>()
  for (const option of start === -1 ? [] : text.slice(start + 1).split(';')) {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/.exec(option) ?? []
    if (OPTIONS[name]?.test(value) !== true || options.has(name)) throw malformed(name)
    options.set(name, value)
  }
  if (key === '') throw malformed('key')
  const number = (name: string): number | undefined => (options.has(name) ? Number(options.get(name)) : undefined)
  return { key, name: options.get('name'), requestsPerSecond: number('requests'), tokensPerMinute: number('tokens') }
}

const malformed = (what: string): ClusterError =>
  new ClusterError('invalid_argument', `API key: ${what}: want KEY, or KEY;name=NAME;requests=N;tokens=N`)

export function isApiKey(text: string): boolean {
  try {
    parseApiKey(text)
    return true
  } catch {
    return false
  }
}
