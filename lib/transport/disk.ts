// The few things the journal asks of a disk, so that a test can be a disk that tears, fills up or fails.

import { mkdir, open, readFile, rename, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'

export interface DiskFile {
  /** All of the bytes, or an error; after an error any part of them may be there. */
  write(bytes: Uint8Array, position: number): Promise<void>
  /** Resolves when content and length would survive a power cut. */
  sync(): Promise<void>
  truncate(length: number): Promise<void>
  close(): Promise<void>
}

/** One folder. */
export interface Disk {
  read(name: string): Promise<Uint8Array | undefined>
  /** Opens for writing; makes it where it is missing. */
  open(name: string): Promise<DiskFile>
  /** Replaces what was there, at once or not at all. */
  rename(from: string, to: string): Promise<void>
  remove(name: string): Promise<void>
  /** Resolves when the names of its files would survive a power cut. */
  sync(): Promise<void>
}

/** A real folder; it is made where it is missing, for our eyes only: requests lie in it. */
export async function openDisk(folder: string): Promise<Disk> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = (name: string): string => join(folder, name)
  return {
    read: async (name) => {
      try {
        return await readFile(path(name))
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return undefined
        throw error
      }
    },
    open: async (name) => {
      // 'r+' and not 'a': a write has a position, so that a torn end is written over
      const handle = await open(path(name), 'r+').catch((error: unknown) => {
        if (errorCode(error) === 'ENOENT') return open(path(name), 'wx+', 0o600)
        throw error
      })
      return diskFile(handle)
    },
    rename: (from, to) => rename(path(from), path(to)),
    remove: (name) => rm(path(name), { force: true }),
    sync: async () => {
      const handle = await open(folder, 'r')
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    },
  }
}

function diskFile(handle: FileHandle): DiskFile {
  return {
    write: async (bytes, position) => {
      for (let done = 0; done < bytes.byteLength;) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.byteLength - done, position + done)
        done += bytesWritten
      }
    },
    sync: () => handle.datasync(),
    truncate: (length) => handle.truncate(length),
    close: () => handle.close(),
  }
}

/** 'ENOENT', …; empty for an error of another kind. */
export const errorCode = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
