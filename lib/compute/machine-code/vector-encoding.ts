// Encodes vector instructions: EVEX for 64-byte vectors (registers 0 to 31), VEX for 32-byte ones (registers 0 to 15).

import { ClusterError } from '../../errors.js'
import { bit, encodeAddress, type Memory } from './addressing.js'

/** Bytes of a vector register. */
export type VectorBytes = 32 | 64

/** Opcode map (1: 0F, 2: 0F38, 3: 0F3A), whether the prefix is 66, and the bytes that a memory operand has. */
interface Encoding {
  readonly map: 1 | 2 | 3
  readonly is66: boolean
  readonly opcode: number
  readonly memory: 'full' | 'half' | number // a share of the vector, or a number
  readonly extension?: number // of the opcode, in the place of a register: instructions with an immediate
}

const ENCODINGS = {
  vmovups: { map: 1, is66: false, opcode: 0x10, memory: 'full' },
  vmovupsStore: { map: 1, is66: false, opcode: 0x11, memory: 'full' },
  vaddps: { map: 1, is66: false, opcode: 0x58, memory: 'full' },
  vmulps: { map: 1, is66: false, opcode: 0x59, memory: 'full' },
  vsubps: { map: 1, is66: false, opcode: 0x5c, memory: 'full' },
  vminps: { map: 1, is66: false, opcode: 0x5d, memory: 'full' },
  vdivps: { map: 1, is66: false, opcode: 0x5e, memory: 'full' },
  vmaxps: { map: 1, is66: false, opcode: 0x5f, memory: 'full' },
  vcvtps2dq: { map: 1, is66: true, opcode: 0x5b, memory: 'full' },
  vcvtdq2ps: { map: 1, is66: false, opcode: 0x5b, memory: 'full' },
  vpaddd: { map: 1, is66: true, opcode: 0xfe, memory: 'full' },
  vpmaddwd: { map: 1, is66: true, opcode: 0xf5, memory: 'full' },
  vpand: { map: 1, is66: true, opcode: 0xdb, memory: 'full' },
  vpandn: { map: 1, is66: true, opcode: 0xdf, memory: 'full' },
  vpxor: { map: 1, is66: true, opcode: 0xef, memory: 'full' },
  vpslld: { map: 1, is66: true, opcode: 0x72, memory: 'full', extension: 6 },
  vpsrad: { map: 1, is66: true, opcode: 0x72, memory: 'full', extension: 4 },
  vpsrlvd: { map: 2, is66: true, opcode: 0x45, memory: 'full' },
  vpdpwssd: { map: 2, is66: true, opcode: 0x52, memory: 'full' },
  vpbroadcastd: { map: 2, is66: true, opcode: 0x58, memory: 4 },
  vbroadcasti128: { map: 2, is66: true, opcode: 0x5a, memory: 16 },
  vpmovsxbw: { map: 2, is66: true, opcode: 0x20, memory: 'half' },
  vcvtph2ps: { map: 2, is66: true, opcode: 0x13, memory: 'half' },
  vpmovzxwd: { map: 2, is66: true, opcode: 0x33, memory: 'half' },
  vroundps: { map: 3, is66: true, opcode: 0x08, memory: 'full' },
  vinserti32x8: { map: 3, is66: true, opcode: 0x3a, memory: 'half' }, // 64-byte vectors only
} as const satisfies Record<string, Encoding>

export type VectorName = keyof typeof ENCODINGS

export interface VectorOperands {
  readonly to: number // of vmovupsStore: what is stored
  readonly left?: number // the first source of instructions with two
  readonly from: number | Memory
  readonly immediate?: number
}

/** The instruction's bytes. Throws `internal` where a register does not exist. */
export function encodeVector(name: VectorName, bytes: VectorBytes, operands: VectorOperands): number[] {
  const encoding: Encoding = ENCODINGS[name]
  const { to, left = 0, from, immediate } = operands
  const [reg, vvvv] = encoding.extension === undefined ? [to, left] : [encoding.extension, to]
  checkRegisters(name, bytes, [reg, vvvv, typeof from === 'number' ? from : 0])
  const prefix = bytes === 64 ? evex(encoding, reg, vvvv, from) : vex(encoding, reg, vvvv, from)
  const unit = bytes === 64 ? memoryBytes(encoding) : 1
  const place = typeof from === 'number' ? [0xc0 | ((reg & 7) << 3) | (from & 7)] : encodeAddress(reg, from, unit)
  return [...prefix, encoding.opcode, ...place, ...(immediate === undefined ? [] : [immediate])]
}

function checkRegisters(name: string, bytes: VectorBytes, registers: readonly number[]): void {
  if (registers.every((register) => register >= 0 && register < bytes / 2)) return
  throw new ClusterError('internal', `assembler: ${name} of ${bytes} bytes: no such register in ${registers.join()}`)
}

const memoryBytes = ({ memory }: Encoding): number =>
  typeof memory === 'number' ? memory : memory === 'full' ? 64 : 32

/** Bits 3 and 4 of what ModRM's rm field names: a vector register, or index and base of an address. */
function rmBits(from: number | Memory): { readonly x: number; readonly b: number } {
  if (typeof from === 'number') return { x: bit(from, 4), b: bit(from, 3) }
  return { x: bit(from.index ?? 0, 3), b: bit(from.base, 3) }
}

function evex({ map, is66 }: Encoding, reg: number, vvvv: number, from: number | Memory): number[] {
  const { x, b } = rmBits(from)
  const registers = (bit(reg, 3) << 7) | (x << 6) | (b << 5) | (bit(reg, 4) << 4)
  return [0x62, (registers ^ 0xf0) | map, ((~vvvv & 15) << 3) | 4 | Number(is66), 0x40 | ((bit(vvvv, 4) ^ 1) << 3)]
}

function vex({ map, is66 }: Encoding, reg: number, vvvv: number, from: number | Memory): number[] {
  const { x, b } = rmBits(from)
  const registers = (bit(reg, 3) << 7) | (x << 6) | (b << 5)
  return [0xc4, (registers ^ 0xe0) | map, ((~vvvv & 15) << 3) | 4 | Number(is66)]
}
