// `@banyan/replay`: traces in, load out, a report at the end.

export type { RecordedAnswer, SkippedLine, Trace, TracePrompt, TraceRequest, TraceSampling } from './trace.js'
