// The frames that every version is held to: `test/fixtures/frames`.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Frame } from '../../lib/wire/frame.js'
import { repositoryRoot } from './paths.js'

export interface GoldenFrame {
  readonly hex: string
  readonly frame: unknown // as `readable` makes it
}

export const goldenFile = (version: number): string =>
  join(repositoryRoot, 'test', 'fixtures', 'frames', `v${version}.json`)

/** By kind. */
export const readGoldens = (version: number): Readonly<Record<string, GoldenFrame>> =>
  JSON.parse(readFileSync(goldenFile(version), 'utf8')) as Record<string, GoldenFrame> // a file of this repository

/** A frame as JSON can hold it: bytes in base64, nothing for what is absent. */
export const readable = ({ version, speaks, envelope, message }: Frame): unknown =>
  JSON.parse(
    JSON.stringify({ version, speaks, envelope, message }, (_key, value: unknown) =>
      // Buffer's own toJSON has run before this.
      isBytes(value) ? Buffer.from(value).toString('base64') : isBufferJson(value) ? toBase64(value.data) : value,
    ),
  )

const toBase64 = (data: readonly number[]): string => Buffer.from(data).toString('base64')

const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array

const isBufferJson = (value: unknown): value is { readonly data: readonly number[] } =>
  typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer' && 'data' in value
