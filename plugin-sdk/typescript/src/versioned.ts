import { messageOf } from "./errors.ts";

/** Raises the version of a format by one. */
export interface Migration {
  /** What changes, in a few words. */
  description: string;
  /** Makes data of the version before into that of the next. Has no side effects; throws when it cannot. */
  migrate(old: any): unknown;
}

/** What a format is made of. */
export interface VersionedDefinition<T> {
  /** Checks data of the newest version, and makes of it what the plugin works with. Throws when it does not fit. */
  read(data: unknown): T;
  /** From the oldest version on, each to the next. */
  migrations?: readonly Migration[];
  /** The oldest version that is still understood: 1, unless the plugin has forgotten some. */
  since?: number;
}

/** Why data of some version cannot be used. */
export class VersionError extends Error {
  override readonly name = "VersionError";
}

/** A format with a way from each older version to the newest. */
export class Versioned<T> {
  private readonly first: number;
  private readonly migrations: readonly Migration[];

  constructor(private readonly definition: VersionedDefinition<T>) {
    this.first = definition.since ?? 1;
    this.migrations = definition.migrations ?? [];
    if (!Number.isInteger(this.first) || this.first < 1) throw new TypeError(`versions count from 1: ${this.first} is none`);
  }

  /** The newest version, which is the one that is written. */
  get version(): number {
    return this.first + this.migrations.length;
  }

  /** Brings data of any version up to date and reads it. */
  parse(version: number, data: unknown): T {
    return this.definition.read(this.migrate(version, data));
  }

  /** Brings data of any version up to date. */
  migrate(version: number, data: unknown): unknown {
    if (version > this.version) throw new VersionError(`it is of version ${version}, and this release of the plugin understands versions up to ${this.version}`);
    if (version < this.first) throw new VersionError(`it is of version ${version}, and this release of the plugin understands versions from ${this.first} on`);
    let migrated = data;
    for (let from = version; from < this.version; from++) {
      const { description, migrate } = this.migrations[from - this.first]!;
      try {
        migrated = migrate(migrated);
      } catch (thrown) {
        throw new VersionError(`the migration from version ${from} to ${from + 1} (${description}) failed: ${messageOf(thrown)}`);
      }
    }
    return migrated;
  }
}

/** Defines a format, of a setting for example. */
export function versioned<T>(definition: VersionedDefinition<T>): Versioned<T> {
  return new Versioned(definition);
}
