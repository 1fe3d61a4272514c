// A headless Chromium, where the machine has one: BANYAN_CHROMIUM names it, else it is looked for on the PATH.

import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** Undefined where there is none. */
export function findBrowser(): string | undefined {
  const { BANYAN_CHROMIUM, PATH = '' } = process.env
  if (BANYAN_CHROMIUM !== undefined && BANYAN_CHROMIUM !== '') return BANYAN_CHROMIUM
  return PATH.split(delimiter)
    .flatMap((folder) => NAMES.map((name) => join(folder, name)))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export const startBrowser = (executablePath: string): Promise<Browser> =>
  chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] })

/** A page, and what went wrong on it: errors, and requests to another origin than this one. */
export async function openPage(
  browser: Browser,
  origin: string,
  options: BrowserContextOptions = {},
): Promise<{ readonly page: Page; readonly problems: readonly string[] }> {
  const page = await (await browser.newContext(options)).newPage()
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(`error: ${error.message}`))
  page.on('console', (message) => {
    // the answer 401 is what the page asks its key for, a router that is away what it tries again for
    const isExpected = /status of 401|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING/.test(message.text())
    if (message.type() === 'error' && !isExpected) problems.push(`console: ${message.text()}`)
  })
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) problems.push(`request to ${request.url()}`)
  })
  return { page, problems }
}
