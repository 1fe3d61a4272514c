// The version that every door and process reports.

export const VERSION = '0.1.0'
