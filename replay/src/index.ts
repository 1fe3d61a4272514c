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
export { convertTrace, TARGETS, type Converted } from './convert-trace.js'
export { analyzeTrace, type Analysis } from './analyze/analyze-trace.js'
export { analysisHtml } from './analyze/analysis-html.js'
export { analysisText } from './analyze/analysis-text.js'
export { findRequest, type FoundRequest } from './show/find-request.js'
export { waterfallOf, type Waterfall, type WaterfallRow } from './show/waterfall.js'
export { drawWaterfall, type DrawnLine, type PieceStyle } from './show/draw-waterfall.js'
