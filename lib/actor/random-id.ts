// Ids from a source of randomness that is a parameter.

import type { Random } from './actor.js'

const PART_BITS = 48 // of the 53 that a number holds
const PART_DIGITS = PART_BITS / 4

/** Hexadecimal digits, 4 random bits each. */
export function randomHex(random: Random, numDigits: number): string {
  let digits = ''
  while (digits.length < numDigits) {
    digits += Math.floor(random() * 2 ** PART_BITS)
      .toString(16)
      .padStart(PART_DIGITS, '0')
  }
  return digits.slice(0, numDigits)
}
