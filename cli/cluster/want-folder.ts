// Folders that the user names: made where they are missing, refused before anything starts where nobody can write there.

import { accessSync, constants, mkdirSync } from 'node:fs'
import { ClusterError } from '../../lib/errors.js'

/** Throws `failed_precondition` that names the setting. */
export function wantFolder(setting: string, folder: string, mode?: number): void {
  try {
    mkdirSync(folder, { recursive: true, mode })
    accessSync(folder, constants.W_OK)
  } catch (error) {
    const { message } = ClusterError.from(error)
    throw new ClusterError('failed_precondition', `${setting} ${folder}: want a folder to write in (${message})`, {
      cause: error,
    })
  }
}
