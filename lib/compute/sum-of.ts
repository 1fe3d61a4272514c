// The sum of two arrays, element by element.

export function sumOf(a: Float32Array, b: Float32Array): Float32Array {
  const sums = new Float32Array(a.length)
  for (let i = 0; i < sums.length; i++) sums[i] = a[i]! + b[i]!
  return sums
}
