// How a process shows a NATS server who it is: user and password (or a token) in the URL, certificates in files.

import { readFileSync } from 'node:fs'
import { ClusterError } from '../errors.js'

/** PEM files; they are read again at every connect, so that renewed ones are taken. */
export interface NatsTlsFiles {
  readonly ca?: string | undefined // of the server; absent: the well-known ones
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

/** Beside the URL: a password in one is written down wherever the URL is, and wants its signs escaped. */
export interface NatsLogin {
  readonly user?: string | undefined
  readonly password?: string | undefined
}

export interface NatsAccess {
  readonly servers: string[] // without users
  readonly login: { readonly user?: string; readonly pass?: string; readonly token?: string }
  readonly tls: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string } | undefined
}

/** The same text with what stands before an @ in its URLs left out: what may be shown of a server's URL. */
export const withoutLogin = (urls: string): string => urls.replace(/(:\/\/)[^\s,]*@/g, '$1')

/** One login for all servers of the list: the first that a URL has, else the one beside it. Throws `invalid_argument` for files that cannot be read. */
export function natsAccess(
  urls: string,
  {
    tls: files = {},
    login = {},
  }: { readonly tls?: NatsTlsFiles | undefined; readonly login?: NatsLogin | undefined } = {},
): NatsAccess {
  const list = urls.split(',')
  const isAsked =
    list.some((url) => url.startsWith('tls://')) || Object.values(files).some((file) => file !== undefined)
  return {
    servers: list.map(withoutLogin),
    login: list.map(loginOf).find((found) => found !== undefined) ?? besideUrl(login),
    tls: isAsked ? tlsOf(files) : undefined,
  }
}

const besideUrl = ({ user, password }: NatsLogin): NatsAccess['login'] =>
  user === undefined ? {} : { user, ...(password !== undefined && { pass: password }) }

function loginOf(url: string): NatsAccess['login'] | undefined {
  const [, login] = /:\/\/([^\s,]*)@/.exec(url) ?? []
  if (login === undefined) return undefined
  const [user = '', ...rest] = login.split(':')
  return rest.length === 0 ? { token: decode(user) } : { user: decode(user), pass: decode(rest.join(':')) }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part // a bare % in a password is what it says
  }
}

function tlsOf({ ca, cert, key }: NatsTlsFiles): NonNullable<NatsAccess['tls']> {
  for (const file of [ca, cert, key]) if (file !== undefined) checkReadable(file)
  return {
    ...(ca !== undefined && { caFile: ca }),
    ...(cert !== undefined && { certFile: cert }),
    ...(key !== undefined && { keyFile: key }),
  }
}

function checkReadable(file: string): void {
  try {
    readFileSync(file)
  } catch (error) {
    throw new ClusterError('invalid_argument', `NATS: ${file}: want a PEM file, ${ClusterError.from(error).message}`, {
      cause: error,
    })
  }
}
