// Tensors by their published names, and the small operations of the slow float64 reference.

export type Vector = number[]
export type Weights = ReadonlyMap<string, { readonly data: ArrayLike<number>; readonly shape: readonly number[] }>

export interface ReferenceTensors {
  has(name: string): boolean
  get(name: string): ArrayLike<number>
  /** NAME.weight · x + NAME.bias, where there is one. */
  linear(name: string, x: Vector): Vector
  /** x over its root mean square, times NAME.weight (plus one, for Gemma). */
  norm(name: string, x: Vector, epsilon: number): Vector
}

export function referenceTensors(weights: Weights, addsOne: boolean): ReferenceTensors {
  const get = (name: string): ArrayLike<number> => {
    const found = weights.get(name)
    if (found === undefined) throw new Error(`reference: no tensor ${name}`)
    return found.data
  }
  return {
    has: (name) => weights.has(name),
    get,
    linear: (name, x) => {
      const bias = weights.get(`${name}.bias`)?.data
      return product(get(`${name}.weight`), x).map((sum, o) => sum + (bias === undefined ? 0 : Number(bias[o])))
    },
    norm: (name, x, epsilon) => {
      const w = get(`${name}.weight`)
      const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + epsilon)
      return x.map((v, i) => v * scale * (Number(w[i]) + (addsOne ? 1 : 0)))
    },
  }
}

/** W · x for a matrix [outputs, inputs] that begins at `first`. */
export function product(w: ArrayLike<number>, x: Vector, first = 0, outputs = w.length / x.length): Vector {
  return Array.from({ length: outputs }, (_, o) =>
    x.reduce((sum, v, i) => sum + Number(w[first + o * x.length + i]) * v, 0),
  )
}

/** xᵀ · W for a matrix [inputs, outputs] that begins at `first`. */
export function transposedProduct(w: ArrayLike<number>, x: Vector, first: number, outputs: number): Vector {
  return Array.from({ length: outputs }, (_, o) =>
    x.reduce((sum, v, i) => sum + Number(w[first + i * outputs + o]) * v, 0),
  )
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

export const chunks = (x: Vector, size: number): Vector[] =>
  Array.from({ length: x.length / size }, (_, at) => x.slice(at * size, (at + 1) * size))

export const plus = (a: Vector, b: Vector | undefined, times = 1): Vector => a.map((v, i) => v + times * Number(b?.[i]))
