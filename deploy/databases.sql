-- The logins and databases of Headway on PostgreSQL, made once by a superuser with psql 14 or later:
--   LEDGER_PASSWORD=... OPERATIONS_PASSWORD=... psql -U postgres -f deploy/databases.sql
-- SQL that people write runs as `operations`: it owns the database that tasks work on, and can enter no other one here.
\set ON_ERROR_STOP on
\getenv ledger_password LEDGER_PASSWORD
\getenv operations_password OPERATIONS_PASSWORD

CREATE ROLE headway LOGIN NOSUPERUSER CREATEROLE PASSWORD :'ledger_password';
CREATE DATABASE headway OWNER headway;
CREATE DATABASE prefect OWNER headway;
CREATE ROLE operations LOGIN NOSUPERUSER PASSWORD :'operations_password';
CREATE DATABASE operations OWNER operations;

-- Headway gives this one a password and what it may read (block `ledger`); made by `headway`, it is Headway's to alter.
SET ROLE headway;
CREATE ROLE headway_ledger_headway;
RESET ROLE;
REVOKE CONNECT ON DATABASE headway, prefect FROM PUBLIC;
GRANT CONNECT ON DATABASE headway TO headway_ledger_headway;
