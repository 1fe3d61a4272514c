// `@banyan/replay`: traces in, load out, a report at the end.

export { createGrpcClient, type GrpcOptions } from './clients/grpc.js'
export { createHttpCaller, type HttpCaller, type HttpOptions } from './clients/http-call.js'
export { createOpenAiClient, type OpenAiOptions } from './clients/openai.js'
export type { AnswerEvent, AnswerStats, Call, PreparedCall, ReplayClient } from './clients/client.js'
export {
  checkRun,
  compareAnswer,
  isCheckable,
  requireCheckable,
  type CheckReport,
  type ComparedAnswer,
  type Difference,
  type Served,
} from './check.js'
export { systemClock, type ReplayClock } from './clock.js'
export { compareRuns, type CompareOptions, type ComparedFigure, type RunComparison } from './compare.js'
export { readEvents } from './clients/sse.js'
export { RequestFailure, type FailureKind } from './errors.js'
export { parseGoals, type Goals } from './goodput.js'
export type { OutputChunk, OutputChunks } from './chunk-list.js'
export type { Answer, AnswerChoice, TimeLimits } from './measure.js'
export { bucketAt, bucketsOf, growth, parseMetrics, sumOf, type Bucket, type Sample } from './prometheus-text.js'
export { printable } from './printable.js'
export { createPrompts, withOutputLengths, type PromptOf, type PromptOptions, type Prompts } from './prompts.js'
export { readTrace, type ReadOptions } from './read-trace.js'
export { replay, DEFAULT_LIMITS, type ReplayOptions, type ReplayProgress, type ReplayRun } from './replay.js'
export { profileLines, summaryCsv, summaryJson } from './report/aiperf.js'
export { escapeHtml } from './page/charts.js'
export { reportHtml, type HtmlOptions } from './report/html.js'
export { DEFINITIONS } from './report/names.js'
export { section, table as htmlTable } from './report/page.js'
export { formatFigure, reportText } from './report/table.js'
export { openReportFolder, writeReport, type ReportFiles } from './report/write.js'
export { measureAnswer, type RequestMetrics } from './request-metrics.js'
export {
  planReplay,
  type Arrival,
  type Pace,
  type Plan,
  type PlannedRequest,
  type ScheduleOptions,
} from './schedule.js'
export { serverFigures, type Acceptance, type ServerFigures } from './server-figures.js'
export { askServer, detokenize, tokenize, type AskOptions, type Scrapes, type ServerInfo } from './server-info.js'
export { stepSpans, type StepSpan, type TokenPlace } from './spans/step-spans.js'
export { counted, wereOrWas } from './counted.js'
export { sliceTrace, type Slice } from './slice-trace.js'
export { distribution, percentile, type Distribution } from './statistics.js'
export { DEGRADED_MS, measureRun, summarise, type Figure, type Summary, type SummaryOptions } from './summary.js'
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
export type { RecordedAnswer, SkippedLine, Trace, TracePrompt, TraceRequest, TraceSampling } from './trace.js'
