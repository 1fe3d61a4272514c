// Writes a plan's files into a folder of its own.
//
// Invariants
//   WO1  A folder that holds anything else than an earlier plan is left as it is, unless told otherwise.
//   WO2  Nothing of an earlier plan stays that the new one does not have.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { PLAN_FILES, PLAN_MARK, PLAN_PAGE } from '../../lib/deploy/overlay.js'
import { ClusterError } from '../../lib/errors.js'

export function writeOverlay(
  folder: string,
  files: ReadonlyMap<string, string>,
  { isForced }: { readonly isForced: boolean },
): void {
  try {
    if (!isForced) refuseOthers(folder)
    mkdirSync(folder, { recursive: true })
    for (const name of PLAN_FILES) if (!files.has(name)) rmSync(join(folder, name), { force: true })
    for (const [name, text] of files) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
  } catch (error) {
    if (error instanceof ClusterError) throw error
    throw new ClusterError('failed_precondition', `--out ${folder}: ${ClusterError.from(error).message}`, {
      cause: error,
    })
  }
}

function refuseOthers(folder: string): void {
  if (!existsSync(folder)) return
  if (!statSync(folder).isDirectory()) throw refusal(folder, 'a file')
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory())
  const found = entries.map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
  if (found.length === 0) return
  const page = join(folder, PLAN_PAGE)
  if (!existsSync(page) || !readFileSync(page, 'utf8').includes(PLAN_MARK))
    throw refusal(folder, found.slice(0, 3).join(', '))
  const others = found.filter((name) => !PLAN_FILES.includes(name))
  if (others.length > 0) throw refusal(folder, others.slice(0, 3).join(', '))
}

const refusal = (folder: string, found: string): ClusterError =>
  new ClusterError(
    'already_exists',
    `--out ${folder}: want a new folder or one that holds a plan and nothing else, found ${found}; --force writes there all the same`,
  )
