// `@banyan/replay`: traces in, load out, a report at the end.

export type { RecordedAnswer, SkippedLine, Trace, TracePrompt, TraceRequest, TraceSampling } from './trace.js'
export { readTrace, type ReadOptions } from './read-trace.js'
export { sliceTrace, type Slice } from './slice-trace.js'
export {
  createVocabulary,
  synthesizeText,
  synthesizeTokens,
  type BlockPrompt,
  type SynthesisOptions,
  type SynthesizedText,
  type Tokenizer,
  type Vocabulary,
  type VocabularyOptions,
} from './synthesize.js'
export { TraceError, type TraceErrorCode } from './trace-error.js'
