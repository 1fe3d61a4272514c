// Certificates for a test, made by the openssl command (Debian, Ubuntu and macOS have it; it is in CI's image).

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Certificate {
  readonly cert: string // PEM files
  readonly key: string
}

export interface Authority {
  readonly ca: string // PEM file
  /** A certificate for 127.0.0.1 and localhost, or for a client. */
  issue(name: string): Certificate
  remove(): void
}

function openssl(words: readonly string[], folder: string): void {
  try {
    execFileSync('openssl', words, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (isMissing) throw new Error('these tests make certificates with openssl: install it', { cause: error })
    throw error
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

export function createAuthority(name = 'Banyan test authority'): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-tls-'))
  const ca = join(folder, 'ca.pem')
  const request = ['req', '-x509', ...NEW_KEY, '-subj', `/CN=${name}`, '-days', '2']
  openssl([...request, '-keyout', 'ca-key.pem', '-out', ca], folder)
  writeFileSync(join(folder, 'names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
  let numIssued = 0
  return {
    ca,
    issue: (subject) => {
      const file = `${(numIssued += 1)}`
      openssl(
        ['req', ...NEW_KEY, '-subj', `/CN=${subject}`, '-keyout', `${file}-key.pem`, '-out', `${file}.csr`],
        folder,
      )
      const signed = ['-CA', ca, '-CAkey', 'ca-key.pem', '-set_serial', String(1000 + numIssued), '-days', '2']
      openssl(['x509', '-req', '-in', `${file}.csr`, ...signed, '-extfile', 'names', '-out', `${file}.pem`], folder)
      return { cert: join(folder, `${file}.pem`), key: join(folder, `${file}-key.pem`) }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export const pem = (file: string): Buffer => readFileSync(file)
