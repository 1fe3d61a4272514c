// JSON files of a checkpoint folder.

import { existsSync, readFileSync } from 'node:fs'
import { ClusterError } from '../errors.js'

/** A JSON object. Throws `not_found` without the file, `invalid_argument` where it is not an object. */
export function readJson(path: string): Readonly<Record<string, unknown>> {
  if (!existsSync(path)) throw new ClusterError('not_found', `${path}: no such file`)
  let parsed: unknown
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new ClusterError('invalid_argument', `${path}: not JSON: ${error instanceof Error ? error.message : ''}`, {
      cause: error,
    })
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new ClusterError('invalid_argument', `${path}: want a JSON object`)
  }
  return parsed as Readonly<Record<string, unknown>> // an object, just checked
}
