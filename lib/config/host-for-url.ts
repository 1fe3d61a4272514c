// An address as it stands in front of a port.

/** IPv6 addresses in brackets, anything else as it is. */
export const hostForUrl = (host: string): string => (host.includes(':') && !host.startsWith('[') ? `[${host}]` : host)
