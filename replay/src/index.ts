// `@banyan/replay`: traces in, load out, a report at the end.

export type { RecordedAnswer, Trace, TracePrompt, TraceRequest, TraceSampling } from './trace.js'
