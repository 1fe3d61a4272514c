// The console's static files: the page and its style from `console/`, its compiled modules from `dist/console/`, and uPlot
// from its package. They hold no data, so they need no key. Read once; only what is listed here is ever served.

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ClusterError } from '../../../lib/errors.js'
import { packageRoot } from '../../../lib/package-files.js'
import type { Exchange } from './exchange.js'

const PAGE = join('console', 'index.html')

/** Nothing from anywhere else, nothing inline, in no frame. */
const SECURITY = {
  'content-security-policy':
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  js: 'text/javascript; charset=utf-8',
}

interface StaticFile {
  readonly bytes: Buffer
  readonly type: string
  readonly etag: string
}

let files: ReadonlyMap<string, StaticFile> | undefined // by path below /console/; '' is the page

/** `GET /console` and what is below it. Throws `not_found`. */
export function answerConsoleFile({ params, request, response }: Exchange): void {
  const [name = ''] = params
  files ??= readFiles()
  const file = files.get(name)
  if (file === undefined) {
    throw new ClusterError('not_found', `console: no file ${name}`, { details: { reason: 'NO_SUCH_PATH' } })
  }
  const headers = { ...SECURITY, etag: file.etag, 'cache-control': 'no-cache' }
  if (request.headers['if-none-match'] === file.etag) response.writeHead(304, headers).end()
  else response.writeHead(200, { ...headers, 'content-type': file.type }).end(file.bytes)
}

/** The page's own addresses are relative to `/console`. */
export function redirectToConsole({ response }: Exchange): void {
  response.writeHead(308, { location: '../console' }).end()
}

function readFiles(): ReadonlyMap<string, StaticFile> {
  const root = packageRoot()
  const built = join(root, 'dist', 'console')
  if (!existsSync(join(built, 'main.js'))) {
    throw new ClusterError('not_found', 'console: the page is not built; run `npm run build`', {
      details: { reason: 'CONSOLE_NOT_BUILT' },
    })
  }
  const uplot = dirname(fileURLToPath(import.meta.resolve('uplot')))
  const modules = readdirSync(built, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'))
  const listed: readonly (readonly [name: string, path: string])[] = [
    ['', join(root, PAGE)],
    ['console.css', join(root, 'console', 'console.css')],
    ['icon.svg', join(root, 'console', 'icon.svg')],
    ['vendor/uplot.js', join(uplot, 'uPlot.esm.js')],
    ['vendor/uplot.css', join(uplot, 'uPlot.min.css')],
    ...modules.map((file) => [file.replaceAll('\\', '/'), join(built, file)] as const),
  ]
  return new Map(listed.map(([name, path]) => [name, readStatic(path)]))
}

function readStatic(path: string): StaticFile {
  const bytes = readFileSync(path)
  const hash = createHash('sha256').update(bytes).digest('base64url').slice(0, 16)
  return { bytes, type: TYPES[path.slice(path.lastIndexOf('.') + 1)] ?? 'application/octet-stream', etag: `"${hash}"` }
}
