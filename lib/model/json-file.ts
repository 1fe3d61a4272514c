// JSON files of a checkpoint folder.

import { ClusterError } from '../errors.js'
import { readText } from './open-file.js'

type Json = Readonly<Record<string, unknown>>

/** A JSON object. Throws what `openFile` does, and `invalid_argument` where the file holds no object. */
export const readJson = (path: string): Json => parseJson(readText(path), path)

/** The object that a file's text is. */
export function parseJson(text: string, path: string): Json {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/\s+/g, ' ') : ''
    throw new ClusterError('invalid_argument', `${path}: not JSON: ${reason}`, { cause: error })
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new ClusterError('invalid_argument', `${path}: want a JSON object`)
  }
  return parsed as Json // an object, just checked
}
