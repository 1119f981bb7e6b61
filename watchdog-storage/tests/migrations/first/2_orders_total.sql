ALTER TABLE orders ADD COLUMN total bigint NOT NULL DEFAULT 0;
UPDATE orders SET total = total + 1;
