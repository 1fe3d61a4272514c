// The certificate of the doors, read again while they are open.
//
// Invariants
//   TS1  What the doors use is a pair that fits: files that are half written, gone or wrong change nothing, and one log
//        line says so.

import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { Clock } from '../../lib/actor/actor.js'
import type { Logger, TlsFiles } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'

const LOOK_EVERY_MS = 2_000

export interface TlsContext {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca?: Buffer // clients must show a certificate that it vouches for
}

export interface TlsSource {
  readonly context: TlsContext
  /** Returns a function that ends the listening. */
  onChange(listener: (context: TlsContext) => void): () => void
  close(): void
}

/** Throws `invalid_argument` for files that cannot be read or do not fit. */
export function openTls(
  files: TlsFiles,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): TlsSource {
  let context = read(files)
  let problem = ''
  const listeners = new Set<(context: TlsContext) => void>()
  const look = (): void => {
    cancel = clock.after(LOOK_EVERY_MS, look)
    try {
      const next = read(files)
      problem = ''
      if (isSame(next, context)) return
      context = next
      for (const listener of listeners) listener(context)
      logger.info({ cert: files.cert }, 'a new certificate is in use')
    } catch (error) {
      const { message } = ClusterError.from(error)
      if (message !== problem) logger.warn({ error: message }, 'the new certificate is not usable; the old one stays')
      problem = message
    }
  }
  let cancel = clock.after(LOOK_EVERY_MS, look)
  return {
    get context() {
      return context
    },
    onChange: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: () => cancel(),
  }
}

function read({ cert, key, clientCa }: TlsFiles): TlsContext {
  try {
    const context = {
      cert: readFileSync(cert),
      key: readFileSync(key),
      ...(clientCa !== undefined && { ca: readFileSync(clientCa) }),
    }
    createSecureContext(context)
    return context
  } catch (error) {
    const { message } = ClusterError.from(error)
    throw new ClusterError('invalid_argument', `TLS: want a certificate and its key (${cert}, ${key}): ${message}`, {
      cause: error,
    })
  }
}

const isSame = (a: TlsContext, b: TlsContext): boolean =>
  a.cert.equals(b.cert) && a.key.equals(b.key) && (a.ca === b.ca || (a.ca !== undefined && b.ca?.equals(a.ca) === true))
