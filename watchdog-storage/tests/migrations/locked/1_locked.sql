ALTER TABLE busy ADD COLUMN late bigint;
