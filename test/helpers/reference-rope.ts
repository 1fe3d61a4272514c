// Rotation in float64, for the slow reference: frequencies by the published formulas, halves of a pair apart.

export type Rope = Readonly<Record<string, number | string | boolean | undefined>>
type Vector = number[]

/** The first `dims` values of x, rotated for a position. */
export function rotated(x: Vector, position: number, dims: number, rope: Rope, maxPositions: number): Vector {
  const frequencies = frequenciesOf(rope, dims, position, maxPositions)
  const half = dims / 2
  const factor = attentionFactor(rope)
  return x.map((v, i) => {
    if (i >= dims) return v
    const angle = position * Number(frequencies[i % half])
    const other = i < half ? -Number(x[i + half]) : Number(x[i - half])
    return factor * (v * Math.cos(angle) + other * Math.sin(angle))
  })
}

function frequenciesOf(rope: Rope, dims: number, position: number, maxPositions: number): Vector {
  const number = (key: string): number => Number(rope[key])
  const plain = (theta: number): Vector => Array.from({ length: dims / 2 }, (_, i) => 1 / theta ** ((2 * i) / dims))
  const theta = number('rope_theta')
  switch (String(rope.rope_type)) {
    case 'linear':
      return plain(theta).map((f) => f / number('factor'))
    case 'dynamic': {
      const length = Math.max(position + 1, maxPositions)
      const growth = (number('factor') * length) / maxPositions - (number('factor') - 1)
      return plain(theta * growth ** (dims / (dims - 2)))
    }
    case 'yarn':
      return yarn(rope, dims, plain(theta))
    case 'llama3':
      return plain(theta).map((f) => llama3(rope, f))
    default:
      return plain(theta)
  }
}

function yarn(rope: Rope, dims: number, plain: Vector): Vector {
  const original = Number(rope.original_max_position_embeddings)
  /** The dimension that turns so many times within the original length. */
  const turning = (turns: number): number =>
    (dims * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(Number(rope.rope_theta)))
  const [fast, slow] = [turning(Number(rope.beta_fast ?? 32)), turning(Number(rope.beta_slow ?? 1))]
  const isTruncated = rope.truncate !== false
  const low = Math.max(0, isTruncated ? Math.floor(fast) : fast)
  const high = Math.min(dims - 1, isTruncated ? Math.ceil(slow) : slow)
  return plain.map((f, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high === low ? 0.001 : high - low)))
    return (f / Number(rope.factor)) * ramp + f * (1 - ramp)
  })
}

function attentionFactor(rope: Rope): number {
  if (rope.rope_type !== 'yarn') return 1
  if (rope.attention_factor !== undefined) return Number(rope.attention_factor)
  const scale = (mscale: number): number => 0.1 * mscale * Math.log(Number(rope.factor)) + 1
  const both = rope.mscale !== undefined && rope.mscale_all_dim !== undefined
  return both ? scale(Number(rope.mscale)) / scale(Number(rope.mscale_all_dim)) : scale(1)
}

function llama3(rope: Rope, f: number): number {
  const wavelength = (2 * Math.PI) / f
  const original = Number(rope.original_max_position_embeddings)
  const [low, high] = [Number(rope.low_freq_factor), Number(rope.high_freq_factor)]
  if (wavelength < original / high) return f
  if (wavelength > original / low) return f / Number(rope.factor)
  const smooth = (original / wavelength - low) / (high - low)
  return ((1 - smooth) * f) / Number(rope.factor) + smooth * f
}
