// The tests' chance from a seed is the replayer's: equal seeds, equal numbers.

export { createRandom } from '../../replay/src/random.js'
