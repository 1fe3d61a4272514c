// The kernels that this processor computes with wider vectors than WebAssembly's: machine code, written when the engine
// starts. A kernel that is missing here is computed by WebAssembly, with the same bits.

import { createAssembler, type Assembler } from './assembler.js'
import { addressOf, canExecute, functionAt, placeCode } from './executable.js'
import { processorFeatures, vectorUnitOf } from './processor.js'
import { ClusterError } from '../../errors.js'
import { writeAttention } from './attention-code.js'
import type { VectorUnit } from './code-frame.js'
import { writeProduct, type ProductKind } from './product-code.js'

/** Addresses of functions by the task's operation; the same in every thread. */
export type WideKernels = ReadonlyMap<number, bigint>

/** What this process can use, if anything. */
export function vectorUnit(): VectorUnit | undefined {
  const unit = vectorUnitOf(processorFeatures())
  return unit !== undefined && canExecute() ? unit : undefined
}

/** The operations that are written here. */
export interface WideOperations {
  readonly linearFloat: number
  readonly linearFloat16: number
  readonly linearInt8: number
  readonly linearInt4: number
  readonly linearInt8Groups: number
  readonly linearInt4Groups: number
  readonly linearInt8Halves: number
  readonly linearInt4Halves: number
  readonly attend: number
  readonly attendHalves: number
}

/** Writes the kernels for an engine's memory. */
export function writeWideKernels(unit: VectorUnit, memory: SharedArrayBuffer, operations: WideOperations): WideKernels {
  const base = addressOf(memory)
  const write = (writeKernel: (assembler: Assembler) => void): bigint => {
    const assembler = createAssembler()
    writeKernel(assembler)
    return placeCode(assembler.code())
  }
  const product = (kind: ProductKind): bigint => write((a) => writeProduct(a, unit, kind, base))
  return new Map([
    [operations.linearFloat, product({ format: 'f32' })],
    [operations.linearFloat16, product({ format: 'f16' })],
    [operations.linearInt8, product({ format: 'int8' })],
    [operations.linearInt4, product({ format: 'int4' })],
    [operations.linearInt8Groups, product({ format: 'int8', layout: 'groups' })],
    [operations.linearInt4Groups, product({ format: 'int4', layout: 'groups' })],
    [operations.linearInt8Halves, product({ format: 'int8', layout: 'halves' })],
    [operations.linearInt4Halves, product({ format: 'int4', layout: 'halves' })],
    [operations.attend, write((a) => writeAttention(a, unit, 'f32', base))],
    [operations.attendHalves, write((a) => writeAttention(a, unit, 'f16', base))],
  ])
}

/** What a thread calls for a task of one of these operations, with its scratch. */
export function bindKernels(kernels: WideKernels): (operation: number, task: number, scratch: number) => void {
  const functions: ((task: number, scratch: number) => void)[] = []
  for (const [operation, address] of kernels) functions[operation] = functionAt(address)
  return (operation, task, scratch) => {
    const compute = functions[operation]
    if (compute === undefined)
      throw new ClusterError('internal', `machine code: there is none for operation ${operation}`)
    compute(task, scratch)
  }
}
