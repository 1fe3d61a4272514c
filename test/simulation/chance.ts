// Streams of chance, one per name: what one part of a simulation draws does not shift what another one does.

import type { Random } from '../../lib/actor/actor.js'
import { createRandom } from '../helpers/random.js'

export type Streams = (name: string) => Random

export function createStreams(seed: number): Streams {
  return (name) => createRandom(hash(`${seed} ${name}`))
}

/** FNV-1a. */
function hash(text: string): number {
  let state = 0x811c9dc5
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193)
  return state >>> 0
}

export const pick = <T>(random: Random, values: readonly T[]): T => values[Math.floor(random() * values.length)]!

export const integer = (random: Random, from: number, to: number): number =>
  from + Math.floor(random() * (to - from + 1))

export const between = (random: Random, from: number, to: number): number => from + random() * (to - from)
