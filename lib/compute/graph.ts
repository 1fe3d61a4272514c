// Builds an ONNX graph. Its weights stay in the files of a weight folder where they have one (`weight-store.ts`), so
// that the model's bytes are small and the engine reads each weight once.

import { ClusterError } from '../errors.js'
import { ATTRIBUTE, ELEMENT, encodeModel } from './onnx-schema.js'
import type { WeightTensor } from './weight-store.js'

export type Dim = number | string // a string names a dimension that varies from run to run
export type AttributeValue = number | string | readonly number[] | { readonly float: number }

export interface BuiltGraph {
  readonly model: Uint8Array
  readonly weightFolder: string | undefined
  readonly hasFloat16?: boolean // among its weights
}

export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, AttributeValue>>
  readonly domain?: 'com.microsoft'
  readonly outputs?: number
}

const EXTERNAL = 1 // TensorProto.DataLocation

const bytes = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

function attribute(name: string, value: AttributeValue): Record<string, unknown> {
  if (typeof value === 'number') return { name, type: ATTRIBUTE.int, i: value }
  if (typeof value === 'string') return { name, type: ATTRIBUTE.string, s: Buffer.from(value) }
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
  private readonly names: { count: number }
  private readonly folders: Set<string>

  /** A branch of `If` shares the names and the weight folder of the graph around it. */
  constructor(outer?: GraphBuilder) {
    this.names = outer?.names ?? { count: 0 }
    this.folders = outer?.folders ?? new Set()
  }

  input(name: string, dims: readonly Dim[], element: keyof typeof ELEMENT = 'float'): string {
    this.inputs.push(valueInfo(name, ELEMENT[element], dims))
    return name
  }

  /** A float32 constant. */
  constant(data: Float32Array, dims: readonly number[]): string {
    return this.initializer(ELEMENT.float, bytes(data), dims)
  }

  /** A weight, by value or by its place in a file. */
  weight({ element, dims, source }: WeightTensor): string {
    if (!('folder' in source)) return this.initializer(ELEMENT[element], bytes(source), dims)
    this.folders.add(source.folder)
    const name = this.fresh()
    const places = { location: source.file, offset: String(source.offset), length: String(source.length) }
    const externalData = Object.entries(places).map(([key, value]) => ({ key, value }))
    this.initializers.push({ name, dataType: ELEMENT[element], dims: [...dims], dataLocation: EXTERNAL, externalData })
    return name
  }

  constantInt64(values: readonly number[]): string {
    return this.initializer(ELEMENT.int64, bytes(BigInt64Array.from(values, BigInt)), [values.length])
  }

  constantInt32(values: readonly number[]): string {
    return this.initializer(ELEMENT.int32, bytes(Int32Array.from(values)), [values.length])
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

  /** Appends `If`: the value of one of two branches, [rows, width], by a condition of one boolean. */
  branch(condition: string, yes: (inner: GraphBuilder) => string, no: (inner: GraphBuilder) => string): string {
    const output = this.fresh()
    const graphOf = (build: (inner: GraphBuilder) => string): Record<string, unknown> => {
      const inner = new GraphBuilder(this)
      inner.output(build(inner), this.fresh(), ['branchRows', 'branchWidth'])
      return inner.proto(this.fresh())
    }
    this.nodes.push({
      opType: 'If',
      input: [condition],
      output: [output],
      name: `If_${output}`,
      attribute: [
        { name: 'then_branch', type: ATTRIBUTE.graph, g: graphOf(yes) },
        { name: 'else_branch', type: ATTRIBUTE.graph, g: graphOf(no) },
      ],
    })
    return output
  }

  /** Marks a value as a graph output under the name `as`. */
  output(value: string, as: string, dims: readonly Dim[], element: keyof typeof ELEMENT = 'float'): void {
    this.nodes.push({ opType: 'Identity', input: [value], output: [as], name: `out_${as}` })
    this.outputs.push(valueInfo(as, ELEMENT[element], dims))
  }

  /** The model's bytes: opset 21, `com.microsoft` 1. Throws `internal` where weights lie in two folders. */
  build(name: string): BuiltGraph {
    const [weightFolder, other] = this.folders
    if (other !== undefined) throw new ClusterError('internal', `graph ${name}: want one weight folder, got two`)
    const model = encodeModel({
      irVersion: 9,
      producerName: 'banyan',
      opsetImport: [
        { domain: '', version: 21 },
        { domain: 'com.microsoft', version: 1 },
      ],
      graph: this.proto(name),
    })
    const hasFloat16 = this.initializers.some(({ dataType }) => dataType === ELEMENT.float16)
    return { model, weightFolder, hasFloat16 }
  }

  private proto(name: string): Record<string, unknown> {
    const { nodes: node, initializers: initializer, inputs: input, outputs: output } = this
    return { name, node, initializer, input, output }
  }

  private initializer(dataType: number, rawData: Uint8Array, dims: readonly number[]): string {
    const name = this.fresh()
    this.initializers.push({ name, dataType, dims: [...dims], rawData })
    return name
  }

  private fresh(): string {
    this.names.count += 1
    return `_${this.names.count}`
  }
}
