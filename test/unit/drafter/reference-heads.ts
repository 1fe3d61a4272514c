// Draft heads in float64 from their formulae (models/demo/README.md): loops over plain arrays, no code of the product.

type Values = ArrayLike<number>
export type HeadTensors = (name: string) => Values

const HEAD_DIM = 32
const ROPE_BASE = 10_000
const EPSILON = 1e-6

function times(matrix: Values, x: Values): Float64Array {
  const result = new Float64Array(matrix.length / x.length)
  for (let row = 0, at = 0; row < result.length; row++) {
    let sum = 0
    for (let i = 0; i < x.length; i++, at++) sum += matrix[at]! * x[i]!
    result[row] = sum
  }
  return result
}

const plus = (a: Values, b: Values): Float64Array => Float64Array.from(a, (value, i) => value + b[i]!)
const silu = (value: number): number => value / (1 + Math.exp(-value))

function rms(x: Float64Array, weight: Values): Float64Array {
  const scale = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + EPSILON)
  return x.map((value, i) => value * scale * weight[i]!)
}

function rotate(x: Float64Array, position: number): Float64Array {
  const half = x.length / 2
  return x.map((value, i) => {
    const angle = position * ROPE_BASE ** (-(i % half) / half)
    const other = i < half ? -x[i + half]! : x[i - half]!
    return value * Math.cos(angle) + other * Math.sin(angle)
  })
}

const headsOf = (x: Float64Array): Float64Array[] =>
  Array.from({ length: x.length / HEAD_DIM }, (_, head) => x.slice(head * HEAD_DIM, (head + 1) * HEAD_DIM))

/** A place and, through the one before it, all that it sees. */
export interface ReferencePlace {
  readonly guess: Float64Array // of the hidden state at its token
  readonly keys: readonly Float64Array[] // by KV head
  readonly values: readonly Float64Array[]
  readonly before: ReferencePlace | undefined
}

/** What a place reads: a token, the hidden state before it and that state's position. */
export interface PlaceInput {
  readonly feature: Values
  readonly embedding: Values
  readonly position: number
}

/** The EAGLE head's output for a place that comes after another. */
export function eaglePlace(
  get: HeadTensors,
  before: ReferencePlace | undefined,
  { feature, embedding, position }: PlaceInput,
): ReferencePlace {
  const x = times(get('fc.weight'), Float64Array.from([...Array.from(embedding), ...Array.from(feature)]))
  const n = rms(x, get('input_layernorm.weight'))
  const project = (name: string): Float64Array[] => headsOf(times(get(`self_attn.${name}_proj.weight`), n))
  const rotated = (name: string): Float64Array[] =>
    project(name).map((head) => rotate(rms(head, get(`self_attn.${name}_norm.weight`)), position))
  const own = { keys: rotated('k'), values: project('v'), before }
  const attended = attend(rotated('q'), own)
  const h = plus(x, times(get('self_attn.o_proj.weight'), attended))
  const u = rms(h, get('post_attention_layernorm.weight'))
  const up = times(get('up_proj.weight'), u)
  const gated = times(get('gate_proj.weight'), u).map((value, i) => silu(value) * up[i]!)
  return { ...own, guess: plus(h, times(get('down_proj.weight'), gated)) }
}

function attend(queries: readonly Float64Array[], own: Omit<ReferencePlace, 'guess'>): Float64Array {
  const seen: Omit<ReferencePlace, 'guess'>[] = []
  for (let place: typeof own | undefined = own; place !== undefined; place = place.before) seen.push(place)
  const group = queries.length / own.keys.length
  const result = new Float64Array(queries.length * HEAD_DIM)
  queries.forEach((query, head) => {
    const kv = Math.floor(head / group)
    const scores = seen.map(({ keys }) => query.reduce((sum, value, i) => sum + value * keys[kv]![i]!, 0))
    const exps = scores.map((score) => Math.exp((score - Math.max(...scores)) / Math.sqrt(HEAD_DIM)))
    const total = exps.reduce((sum, value) => sum + value, 0)
    seen.forEach(({ values }, at) => {
      for (let i = 0; i < HEAD_DIM; i++) result[head * HEAD_DIM + i]! += (exps[at]! / total) * values[kv]![i]!
    })
  })
  return result
}

/** Logits [vocab] of a guessed hidden state through the model's tied embeddings. */
export const logitsOf = (guess: Values, embeddings: Values): Float64Array => times(embeddings, guess)

/** Logits [vocab] of Medusa head k. */
export function medusaLogits(get: HeadTensors, k: number, hidden: Values): Float64Array {
  const inner = plus(times(get(`res.${k}.weight`), hidden), get(`res.${k}.bias`))
  return times(get(`heads.${k}.weight`), plus(hidden, inner.map(silu)))
}

/** Largest difference of two rows, as a share of the largest value. */
export function relativeError(got: Values, exact: Values): number {
  let [difference, size] = [0, 0]
  for (let i = 0; i < exact.length; i++) {
    difference = Math.max(difference, Math.abs(got[i]! - exact[i]!))
    size = Math.max(size, Math.abs(exact[i]!))
  }
  return got.length === exact.length ? difference / size : Infinity
}
