// Operands in memory, as ModRM, SIB and displacement encode them.

import { ClusterError } from '../../errors.js'

/** [base + index + displacement]; registers by their number in the encoding. */
export interface Memory {
  readonly base: number
  readonly index?: number | undefined
  readonly displacement: number
}

export const at = (base: number, displacement = 0, index?: number): Memory => ({ base, displacement, index })

const STACK_POINTER = 4 // as an index: none; as a base: needs SIB
const BASE_POINTER = 5 // as a base: always has a displacement

/** ModRM, SIB and displacement; a short displacement counts in units (disp8*N of EVEX). */
export function encodeAddress(register: number, { base, index, displacement }: Memory, unit: number): number[] {
  if (index === STACK_POINTER) throw new ClusterError('internal', 'assembler: the stack pointer cannot be an index')
  const needsSib = index !== undefined || (base & 7) === STACK_POINTER
  const sib = needsSib ? [(((index ?? STACK_POINTER) & 7) << 3) | (base & 7)] : []
  const modRm = ((register & 7) << 3) | (needsSib ? 4 : base & 7)
  if (displacement === 0 && (base & 7) !== BASE_POINTER) return [modRm, ...sib]
  const units = displacement / unit
  if (Number.isInteger(units) && units >= -128 && units < 128) return [0x40 | modRm, ...sib, units & 255]
  return [0x80 | modRm, ...sib, ...littleEndian(BigInt(displacement), 4)]
}

export const littleEndian = (value: bigint, numBytes: number): number[] =>
  Array.from({ length: numBytes }, (_, i) => Number(BigInt.asUintN(8, value >> BigInt(8 * i))))

export const bit = (value: number, index: number): number => (value >> index) & 1
