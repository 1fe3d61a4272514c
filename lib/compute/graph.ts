// Builds an ONNX graph in memory. Every Banyan graph is a short straight line of nodes over [rows, width] tensors.

import { ATTRIBUTE, ELEMENT, encodeModel } from './onnx-schema.js'

export type Dim = number | string // a string names a dimension that varies from run to run
export type AttributeValue = number | readonly number[] | { readonly float: number }

export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, AttributeValue>>
  readonly domain?: 'com.microsoft'
  readonly outputs?: number
}

const bytes = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

function attribute(name: string, value: AttributeValue): Record<string, unknown> {
  if (typeof value === 'number') return { name, type: ATTRIBUTE.int, i: value }
  if ('float' in value) return { name, type: ATTRIBUTE.float, f: value.float }
  return { name, type: ATTRIBUTE.ints, ints: [...value] }
}

function valueInfo(name: string, elemType: number, dims: readonly Dim[]): Record<string, unknown> {
  const dim = dims.map((size) => (typeof size === 'string' ? { dimParam: size } : { dimValue: size }))
  return { name, type: { tensorType: { elemType, shape: { dim } } } }
}

/** Guards a growing graph; values are referred to by the names that `input`, `constant` and `node` return. */
export class GraphBuilder {
  private readonly nodes: Record<string, unknown>[] = []
  private readonly initializers: Record<string, unknown>[] = []
  private readonly inputs: Record<string, unknown>[] = []
  private readonly outputs: Record<string, unknown>[] = []
  private numValues = 0

  input(name: string, dims: readonly Dim[], element: keyof typeof ELEMENT = 'float'): string {
    this.inputs.push(valueInfo(name, ELEMENT[element], dims))
    return name
  }

  /** A float32 constant. */
  constant(data: Float32Array, dims: readonly number[]): string {
    return this.initializer(ELEMENT.float, bytes(data), dims)
  }

  constantUint8(data: Uint8Array, dims: readonly number[]): string {
    return this.initializer(ELEMENT.uint8, data, dims)
  }

  constantInt64(values: readonly number[]): string {
    return this.initializer(ELEMENT.int64, bytes(BigInt64Array.from(values, BigInt)), [values.length])
  }

  /** Appends a node with one output and returns the output's name. */
  node(opType: string, inputs: readonly string[], options: NodeOptions = {}): string {
    return this.nodeWith(opType, inputs, { ...options, outputs: 1 })[0] ?? ''
  }

  /** Appends a node with several outputs. */
  nodeWith(opType: string, inputs: readonly string[], options: NodeOptions): readonly string[] {
    const output = Array.from({ length: options.outputs ?? 1 }, () => this.fresh())
    this.nodes.push({
      opType,
      input: [...inputs],
      output,
      name: `${opType}_${output[0] ?? ''}`,
      domain: options.domain ?? '',
      attribute: Object.entries(options.attributes ?? {}).map(([name, value]) => attribute(name, value)),
    })
    return output
  }

  /** Marks a value as a float32 graph output under the name `as`. */
  output(value: string, as: string, dims: readonly Dim[]): void {
    this.nodes.push({ opType: 'Identity', input: [value], output: [as], name: `out_${as}` })
    this.outputs.push(valueInfo(as, ELEMENT.float, dims))
  }

  /** The model's bytes: opset 21, `com.microsoft` 1. */
  build(name: string): Uint8Array {
    return encodeModel({
      irVersion: 9,
      producerName: 'banyan',
      opsetImport: [
        { domain: '', version: 21 },
        { domain: 'com.microsoft', version: 1 },
      ],
      graph: {
        name,
        node: this.nodes,
        initializer: this.initializers,
        input: this.inputs,
        output: this.outputs,
      },
    })
  }

  private initializer(dataType: number, rawData: Uint8Array, dims: readonly number[]): string {
    const name = this.fresh()
    this.initializers.push({ name, dataType, dims: [...dims], rawData })
    return name
  }

  private fresh(): string {
    this.numValues += 1
    return `_${this.numValues}`
  }
}
