-- Run once by a superuser in a maintenance database, before the first migration, and again to change passwords. With psql variables owner, api,
-- gateway, writer, archiver: the passwords of the five login roles.
--   psql -v owner=… -v api=… -v gateway=… -v writer=… -v archiver=… -f roles.sql
-- No role that a program logs in as owns anything or bypasses row-level security.
\set ON_ERROR_STOP on

select format('create role %I', name) from unnest(array['parley_owner', 'parley_api', 'parley_gateway', 'parley_writer', 'parley_archiver', 'parley_platform']) name
    where not exists (select 1 from pg_roles where rolname = name) \gexec

alter role parley_owner    login nosuperuser nocreatedb nocreaterole nobypassrls password :'owner';
alter role parley_api      login nosuperuser nocreatedb nocreaterole nobypassrls noinherit password :'api';
alter role parley_gateway  login nosuperuser nocreatedb nocreaterole nobypassrls noinherit password :'gateway';
alter role parley_writer   login nosuperuser nocreatedb nocreaterole nobypassrls noinherit password :'writer';
alter role parley_archiver login nosuperuser nocreatedb nocreaterole nobypassrls noinherit password :'archiver';
alter role parley_platform nologin nosuperuser nocreatedb nocreaterole nobypassrls;
grant parley_platform to parley_api;

-- A hung client or a forgotten transaction must not hold a conversation's head. The server gives up before the programs do (5 s, storage/pg_call.c), so that
-- the outcome of a slow write is known.
alter role parley_api set statement_timeout = '4s';
alter role parley_api set lock_timeout = '3s';
alter role parley_api set idle_in_transaction_session_timeout = '10s';
alter role parley_gateway set statement_timeout = '4s';
alter role parley_gateway set lock_timeout = '3s';
alter role parley_gateway set idle_in_transaction_session_timeout = '10s';
alter role parley_writer set statement_timeout = '4s';
alter role parley_writer set lock_timeout = '3s';
alter role parley_writer set idle_in_transaction_session_timeout = '10s';
-- append_entries() is index probes whatever the statistics say.
alter role parley_writer set plan_cache_mode = 'force_generic_plan';
alter role parley_writer set enable_seqscan = off;
alter role parley_writer set enable_hashjoin = off;
alter role parley_writer set enable_mergejoin = off;

select 'create database parley owner parley_owner encoding ''UTF8'' template template0'
    where not exists (select 1 from pg_database where datname = 'parley') \gexec
alter database parley owner to parley_owner;
revoke all on database parley from public;
grant connect on database parley to parley_api, parley_gateway, parley_writer, parley_archiver;
