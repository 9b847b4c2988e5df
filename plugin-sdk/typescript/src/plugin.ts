import type { EntityKind } from "./entities.ts";
import type { Subscription } from "./events.ts";
import type { QueueDefinition } from "./jobs.ts";
import { Procedures } from "./procedures.ts";
import { Router } from "./router.ts";
import type { Migration } from "./versioned.ts";

/** A readiness check. The server shows it as `<plugin id>.<name>`, to everybody. */
export interface Probe<Config> {
  /**
   * Whether a pod is unready while it fails. Counts only where the admin has made the plugin itself
   * critical (`spec.critical: true` of its CheckstackPlugin).
   */
  critical: boolean;
  /** Throws when something is wrong; the message is shown. */
  check(config: Config): void;
}

/** What a plugin is made of. All of it is synchronous. */
export interface PluginDefinition<Config> {
  /**
   * Checks `spec.config` with the secrets of `spec.configFrom`, and makes of it what the plugin
   * works with. Throws {@link InvalidConfig} to say what is wrong. Without it, the configuration is
   * taken as it is.
   */
  config?(given: Readonly<Record<string, unknown>>): Config;
  /**
   * For a configuration whose form has changed in a way that breaks what admins have written: from version 1 on, each to
   * the next. `spec.configVersion` says which version theirs is of.
   */
  configMigrations?: readonly Migration[];
  /**
   * Makes an instance able to work. Called on each of them, after the plugins it depends on. The
   * first, when the plugin is activated, may take ten times the deadline of a call and at least 10
   * seconds; further ones are made while a call waits, within its deadline. What has to happen once
   * belongs in a migration or in `afterPluginsReady`.
   */
  init?(config: Config): void;
  /** What it answers below `/api/<plugin id>`, but for its procedures: pages, and what others have defined, such as webhooks. */
  routes?(router: Router<Config>): unknown;
  /** What other programs are to call. */
  procedures?(procedures: Procedures<Config>): unknown;
  /** Queues by name, and what does their jobs. */
  queues?: Record<string, QueueDefinition<Config, any>>;
  /** Events of which it is told, and what it does then. */
  subscriptions?: readonly Subscription<Config, any>[];
  /** Kinds of things whose changes others hear, by name. */
  entities?: Record<string, EntityKind>;
  /** What it adds to the server's readiness, by name. */
  probes?: Record<string, Probe<Config>>;
  /**
   * Called once per activation and replica, on one instance, when all plugins have been initialised.
   * May take as long as the first `init`.
   */
  afterPluginsReady?(config: Config): void;
  /** Called once per activation and replica, when the last request has been answered. */
  shutdown?(config: Config): void;
}

/** A plugin, ready to be made a component of. */
export interface Plugin<Config = unknown> extends PluginDefinition<Config> {
  readonly router: Router<Config>;
  readonly offer: Procedures<Config>;
}

/**
 * Defines a plugin; `export default` it from the entry file.
 *
 * The server keeps several instances of a plugin, in every replica. They share no memory, each
 * handles one call at a time, and any of them may be thrown away. What must last belongs in `sql`,
 * `kv` or `settings`. Code outside of functions runs when the plugin is built, not when it is loaded: nothing
 * of the server can be used there.
 */
export function definePlugin<Config = Readonly<Record<string, unknown>>>(definition: PluginDefinition<Config>): Plugin<Config> {
  const router = new Router<Config>();
  definition.routes?.(router);
  const offer = new Procedures<Config>();
  definition.procedures?.(offer);
  return { ...definition, router, offer };
}
