// How a command reaches a cluster whose doors speak TLS: whom it trusts, and what it shows of itself.

import { readFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import { ClusterError } from '../lib/errors.js'
import type { Flags } from './cluster-flags.js'
import { usageError } from './report-error.js'

export interface ClientTls {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

/** From `--tls-ca`, `--tls-cert` and `--tls-key`; undefined where none is given. */
export function clientTls({ tlsCa, tlsCert, tlsKey }: Flags): ClientTls | undefined {
  if ((tlsCert === undefined) !== (tlsKey === undefined)) throw usageError('want --tls-cert and --tls-key, or neither')
  const files = Object.entries({ ca: tlsCa, cert: tlsCert, key: tlsKey }).filter(([, file]) => file !== undefined)
  if (files.length === 0) return undefined
  return Object.fromEntries(files.map(([name, file]) => [name, readPem(String(file))]))
}

function readPem(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new ClusterError('not_found', `${file}: want a PEM file, ${ClusterError.from(error).message}`, {
      cause: error,
    })
  }
}

export interface FetchInit {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal?: AbortSignal
}

export type Fetch = (url: string, init: FetchInit) => Promise<Response>

/** Node's own fetch takes no certificates: with some, requests go through `node:https`. */
export function fetchWith(tls: ClientTls | undefined): Fetch {
  if (tls === undefined) return fetch
  return (url, { method = 'GET', headers = {}, body, signal }) =>
    new Promise((resolve, reject) => {
      if (!url.startsWith('https://')) throw usageError(`${url}: want an https URL with --tls-ca or --tls-cert`)
      const request = httpsRequest(url, { method, headers, ...tls, ...(signal && { signal }) }, (response) => {
        const fields = Object.entries(response.headersDistinct).flatMap(([name, values = []]) =>
          values.map((value): [string, string] => [name, value]),
        )
        const status = response.statusCode ?? 0
        // Node's own web stream, under the name that fetch has for it.
        resolve(new Response(Readable.toWeb(response) as ReadableStream, { status, headers: fields }))
      })
      request.on('error', reject)
      request.end(body)
    })
}
